"""amqtt's plugins, and plugins as its users write them, asked by our policy: answers, errors, sessions, what is kept."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pwdlib.hashers.argon2 import Argon2Hasher

from broker.amqtt_plugins import CLIENT_GRACE, PluginPolicy, PluginProblem
from broker.amqtt_receive import ReceiveGate
from broker.policy import Action, Identity, Login, LoginRefused
from mqtt.packets import Publish, Will
from mqtt.reasons import Reason
from mqtt.session import Session as EngineSession
from tests.unit.broker.disk import STAYS, Site, back, published
from tests.wire.amqtt_plugin import Answers, Rules

OWN = "tests.wire.amqtt_plugin"
FILE = "amqtt.plugins.authentication.FileAuthPlugin"
ANONYMOUS = "amqtt.plugins.authentication.AnonymousAuthPlugin"
ACL = "amqtt.plugins.topic_checking.TopicAccessControlListPlugin"
CERTIFICATE = "amqtt.contrib.cert.UserAuthCertPlugin"
Load = Callable[..., Awaitable[PluginPolicy]]


@pytest.fixture
async def load() -> AsyncIterator[Load]:
    made: list[PluginPolicy] = []
    Answers.sessions.clear()
    Rules.asked.clear()

    async def loading(*plugins: str | tuple[str, dict[str, Any]], patience: float = 5.0) -> PluginPolicy:
        pairs = [(plugin, {}) if isinstance(plugin, str) else plugin for plugin in plugins]
        made.append(await PluginPolicy.load(pairs, patience=patience))
        return made[-1]

    yield loading
    for policy in made:
        await policy.close()


def login(username: str | None = "kim", password: bytes | None = b"pw", client_id: str = "phone") -> Login:
    return Login(client_id, username, password, "192.0.2.7:4711")


def answers(answer: str, name: str = "Answers") -> tuple[str, dict[str, Any]]:
    return f"{OWN}.{name}", {"answer": answer}


# ---- loading


@pytest.mark.parametrize(
    ("plugins", "words"),
    [
        ([("amqtt.plugins.authentication.Absent", {})], "Absent"),
        ([("nowhere.to.be.Found", {})], "nowhere"),
        ([("collections.OrderedDict", {})], "not a subclass"),
        ([(ANONYMOUS, {"allow_anonymous": True, "typo": 1})], "typo"),
        ([(ANONYMOUS, {"allow_anonymous": "perhaps"})], "allow_anonymous"),
        ([(FILE, {"password_file": "/nowhere/passwords"})], "/nowhere/passwords"),
        ([(f"{OWN}.Synchronous", {})], "non-async"),
        ([(ACL, {})], "nobody could connect"),
        ([], "nobody could connect"),
        ([(ANONYMOUS, {}), (ANONYMOUS, {})], "twice"),
    ],
)
async def test_what_can_not_be_loaded_is_named(plugins: list[tuple[str, dict[str, Any]]], words: str) -> None:
    with pytest.raises(PluginProblem, match=words):
        await PluginPolicy.load(plugins)


async def test_without_amqtt_it_is_said_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "amqtt.contexts", None)
    with pytest.raises(PluginProblem, match="extra amqtt"):
        await PluginPolicy.load([(ANONYMOUS, {})])


# ---- who gets in: amqtt's rule


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("yes", "yes", None),
        ("yes", "none", None),
        ("none", "yes", None),
        ("yes", "no", Reason.BAD_USER_NAME_OR_PASSWORD),
        ("no", "yes", Reason.BAD_USER_NAME_OR_PASSWORD),
        ("none", "none", Reason.BAD_USER_NAME_OR_PASSWORD),
        ("none", "no", Reason.BAD_USER_NAME_OR_PASSWORD),
        ("yes", "error", Reason.SERVER_UNAVAILABLE),
        ("yes", "forever", Reason.SERVER_UNAVAILABLE),
    ],
)
async def test_answers_are_combined_as_amqtt_does(load: Load, first: str, second: str, reason: Reason | None) -> None:
    policy = await load(answers(first), answers(second, "More"), patience=0.1)
    if reason is None:
        assert (await policy.login(login())).id == "kim"
        return
    with pytest.raises(LoginRefused) as refused:
        await policy.login(login())
    assert refused.value.reason == reason


async def test_plugins_see_the_session_as_amqtt_fills_it(load: Load) -> None:
    policy = await load(answers("yes"))
    identity = await policy.login(login("김", "비밀".encode()))
    (seen,) = Answers.sessions
    assert (seen.username, seen.password, seen.client_id) == ("김", "비밀", "phone")
    assert (seen.remote_address, seen.remote_port, seen.ssl_object) == ("192.0.2.7", 4711, None)
    assert "비밀" not in repr(identity)
    assert not identity.service


async def test_a_password_that_is_no_text_is_refused_unasked(load: Load) -> None:
    policy = await load(answers("yes"))
    with pytest.raises(LoginRefused):
        await policy.login(login(password=b"\xff"))
    assert Answers.sessions == []


async def test_a_client_without_user_name_is_never_taken_for_a_user(load: Load) -> None:
    policy = await load(ANONYMOUS)
    nameless = await policy.login(login(None, None, client_id="kim"))
    named = await policy.login(login("kim", None, client_id="kim"))
    assert nameless.id != named.id


async def test_the_file_plugin(load: Load, tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text(f"# who\nkim:{Argon2Hasher().hash('비밀')}\n", encoding="utf-8")
    policy = await load((FILE, {"password_file": str(passwords)}))
    assert (await policy.login(login("kim", "비밀".encode()))).id == "kim"
    for wrong in (login("kim", b"pw"), login("lee", "비밀".encode()), login(None, None), login("kim", None)):
        with pytest.raises(LoginRefused) as refused:
            await policy.login(wrong)
        assert refused.value.reason == Reason.BAD_USER_NAME_OR_PASSWORD


def certificate(uri: str | None) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "device")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1))
    if uri is not None:
        alternatives = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
        builder = builder.add_extension(alternatives, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    ("uri", "let_in"),
    [
        ("spiffe://home.example/device/phone", True),
        ("spiffe://home.example/device/other", False),
        ("spiffe://elsewhere.example/device/phone", False),
        (None, False),
    ],
)
async def test_the_certificate_plugin(load: Load, uri: str | None, let_in: bool) -> None:
    policy = await load((CERTIFICATE, {"uri_domain": "home.example"}))
    der = certificate(uri)
    tls: Any = SimpleNamespace(getpeercert=lambda *, binary_form: der if binary_form else None)
    shown = Login("phone", None, None, "192.0.2.7:4711", tls=tls)
    if let_in:
        assert (await policy.login(shown)).id == "\0phone"
    else:
        with pytest.raises(LoginRefused):
            await policy.login(shown)


async def test_a_client_certificate_says_who_it_is(load: Load) -> None:
    policy = await load(answers("yes"))

    async def certified(name: str, username: str | None, client_id: str = "phone") -> Identity:
        return await policy.login(Login(client_id, username, b"pw", "192.0.2.7:4711", certificate=name))

    assert (await certified("lamp", None)).id == (await certified("lamp", "lamp")).id == "lamp"
    assert [session.username for session in Answers.sessions] == [None, "lamp"]
    Answers.sessions.clear()
    for name, username in (("lamp", "kim"), ("lamp", ""), ("", None), ("", "kim"), ("\0phone", None)):
        with pytest.raises(LoginRefused):
            await certified(name, username)
    assert Answers.sessions == []  # nobody was asked


async def test_a_certificate_lets_nobody_in_by_itself(load: Load) -> None:
    policy = await load(answers("no"))
    with pytest.raises(LoginRefused) as refused:
        await policy.login(Login("phone", None, None, "192.0.2.7:4711", certificate="lamp"))
    assert refused.value.reason == Reason.BAD_USER_NAME_OR_PASSWORD


async def test_the_certificate_plugin_lets_nobody_in_without_tls(load: Load) -> None:
    policy = await load((CERTIFICATE, {"uri_domain": "home.example"}))
    with pytest.raises(LoginRefused):
        await policy.login(login())


# ---- who may what


async def may(policy: PluginPolicy, identity: Identity, action: Action, *topics: str) -> list[bool]:
    assert {policy.known(identity, action, topic) for topic in topics} == {None}
    return await policy.decide(action, [(identity, topic) for topic in topics])


async def test_without_topic_plugins_everything_is_allowed_as_in_amqtt(load: Load) -> None:
    policy = await load(ANONYMOUS)
    identity = await policy.login(login())
    assert not policy.has_topic_plugins
    assert policy.known(identity, Action.PUBLISH, "a")
    assert policy.known(identity, Action.SUBSCRIBE, "#")


async def test_the_acl_plugin(load: Load) -> None:
    acl = {"publish_acl": {"kim": ["home/+/set"]}, "acl": {"kim": ["home/#"], "anonymous": ["news"]}}
    policy = await load(ANONYMOUS, (ACL, acl))
    kim, lee = await policy.login(login("kim")), await policy.login(login("lee"))
    nameless = await policy.login(login(None, None))
    assert await may(policy, kim, Action.PUBLISH, "home/lamp/set", "home/lamp", "news") == [True, False, False]
    assert await may(policy, kim, Action.SUBSCRIBE, "home/#", "home/lamp", "#", "news") == [True, True, False, False]
    assert await may(policy, kim, Action.SUBSCRIBE, "$share/g/home/#", "$share/g/#") == [True, False]
    assert await may(policy, lee, Action.PUBLISH, "home/lamp/set") == [False]
    assert await may(policy, lee, Action.SUBSCRIBE, "home/#") == [False]
    assert await may(policy, nameless, Action.SUBSCRIBE, "news", "home/#") == [True, False]


@pytest.mark.parametrize("topic", ["a/error", "a/forever", "a/none"])
async def test_what_is_not_answered_yes_is_denied(load: Load, topic: str) -> None:
    policy = await load(ANONYMOUS, f"{OWN}.Rules", patience=0.05)
    identity = await policy.login(login())
    assert await may(policy, identity, Action.PUBLISH, topic, "a/b") == [False, True]
    assert not await policy.receives("kim", "phone", topic)


async def test_an_identity_without_a_login_here_is_denied(load: Load) -> None:
    policy = await load(ANONYMOUS, f"{OWN}.Rules")
    assert await may(policy, Identity("kim"), Action.PUBLISH, "a") == [False]
    assert policy.may_receive("kim", "phone", "a") is False
    assert not await policy.receives("kim", "phone", "a")


async def test_answers_about_receiving_are_kept_until_they_are_forgotten(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = await load(ANONYMOUS, f"{OWN}.Rules")
    await policy.login(login())
    for _ in range(3):
        if policy.may_receive("kim", "phone", "a") is None:
            await policy.receives("kim", "phone", "a")
    assert Rules.asked["receive", "a"] == 1
    policy.forget({("kim", "phone")})
    assert policy.may_receive("kim", "phone", "a") is None
    policy.forget(set())
    assert policy.may_receive("kim", "phone", "a") is None  # it may still become a session
    moment = asyncio.get_running_loop().time() + CLIENT_GRACE + 1
    monkeypatch.setattr("broker.amqtt_plugins.time.monotonic", lambda: moment)
    policy.forget({("kim", "phone")})
    assert policy.may_receive("kim", "phone", "a") is None
    policy.forget(set())
    assert policy.may_receive("kim", "phone", "a") is False


async def test_answers_kept_are_bounded(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.amqtt_plugins.TOPICS_KEPT", 3)
    policy = await load(ANONYMOUS, f"{OWN}.Rules")
    await policy.login(login())
    for number in range(10):
        assert await policy.receives("kim", "phone", str(number))
        assert len(policy._clients["kim", "phone"].received) <= 3


# ---- the gate


class Gated:
    """A gate before one session, and what came through."""

    def __init__(self, policy: PluginPolicy, *, held: int) -> None:
        self.session = EngineSession("phone", "kim", uid="u")
        self.core: Any = SimpleNamespace(sessions={"phone": self.session}, stats=SimpleNamespace(dropped=Counter()))
        self.tasks: list[asyncio.Task[None]] = []
        self.gate = ReceiveGate(
            policy, self.core, lambda work: self.tasks.append(asyncio.ensure_future(work)), held=held
        )
        self.got: list[str] = []

    def publish(self, topic: str) -> None:
        if self.gate.admits(self.session, topic, 1, lambda: self.got.append(topic)):
            self.got.append(topic)

    async def rest(self) -> None:
        await asyncio.gather(*self.tasks)


@pytest.fixture
async def gated(load: Load) -> Gated:
    rules = (f"{OWN}.Rules", {"denied": {"receive": ["secret/#"]}})
    policy = await load(ANONYMOUS, rules)
    await policy.login(login())
    return Gated(policy, held=5)


async def test_messages_wait_for_the_answer_in_their_order(gated: Gated) -> None:
    for topic in ("a", "secret/1", "b", "a"):
        gated.publish(topic)
    assert gated.got == []
    await gated.rest()
    assert gated.got == ["a", "b", "a"]
    gated.publish("a")
    gated.publish("secret/1")
    assert gated.got == ["a", "b", "a", "a"]
    assert gated.core.stats.dropped == {"receive_not_authorized": 2}


async def test_no_more_wait_than_fit(gated: Gated) -> None:
    for _ in range(7):
        gated.publish("a")
    await gated.rest()
    assert gated.got == ["a"] * 5
    assert gated.core.stats.dropped == {"queue_full": 2}


async def test_a_session_that_is_gone_meanwhile_gets_nothing(gated: Gated) -> None:
    gated.publish("a")
    gated.core.sessions.clear()
    await gated.rest()
    assert gated.got == []


# ---- sessions from disk


async def test_plugins_are_asked_about_a_session_whose_client_has_not_come_back(load: Load) -> None:
    """All that is left of its login is the client id and the user name: that is what they see."""
    rules = (f"{OWN}.Rules", {"denied": {"receive": ["secret/#"]}})
    policy = await load(answers("yes"), rules)
    site = Site(policy)
    await site.start()
    kim, _ = await site.house.dial("phone", username="kim", properties=STAYS)
    assert await kim.subscribe("a", "secret/1") == [1, 1]
    await site.rest()

    policy = site.policy = await load(answers("yes"), rules)
    house = await site.crash()
    assert policy.has_topic_plugins
    house.broker.router.gate = ReceiveGate(policy, house.broker.core, house.broker.spawn)
    speaker, _ = await house.dial("speaker", username="lee")
    for number, topic in enumerate(("a", "secret/1"), 1):
        await speaker.send(Publish(topic, topic.encode(), 1, packet_id=number))
    session = policy._clients["kim", "phone"].session
    assert (session.client_id, session.username, session.password) == ("phone", "kim", None)
    kim, packets = await back(house, "phone", username="kim")
    assert [packet.payload for packet in published(packets)] == [b"a"]
    assert house.broker.core.stats.dropped["receive_not_authorized"] == 1
    assert policy._clients["kim", "phone"].session is not session  # of its new login


async def test_a_session_from_disk_without_a_user_name_has_none(load: Load) -> None:
    policy = await load(ANONYMOUS, f"{OWN}.Rules")
    identity = policy.absent("\0phone", "phone", service=False)
    client = policy._clients["\0phone", "phone"]
    made_before_anybody_asks = client.session is not None
    assert not made_before_anybody_asks
    assert await policy.decide(Action.PUBLISH, [(identity, "a")]) == [True]
    assert (client.session.client_id, client.session.username) == ("phone", None)


async def test_the_will_of_a_session_from_disk_is_asked_about(load: Load) -> None:
    rules: tuple[str, dict[str, Any]] = (f"{OWN}.Rules", {"denied": {}})
    site = Site(await load(answers("yes"), rules))
    await site.start()
    lee, _ = await site.house.dial("lee", username="lee", properties=STAYS)
    assert await lee.subscribe("끝") == [1]
    await site.house.dial("phone", username="kim", properties=STAYS, will=Will("끝", b"gone", 1))
    await site.rest()
    Rules.asked.clear()
    house = await site.crash()
    await site.rest()
    assert Rules.asked["publish", "끝"] == 1
    _, packets = await back(house, "lee", username="lee")
    assert [packet.payload for packet in published(packets)] == [b"gone"]
