"""Logins at a real OpenID provider: oidc-provider, a certified implementation, as a process of its own. On memory and MongoDB."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from adapters.stores import Stores
from api.testing import Harness, running_api
from stack.ports import free_port
from tests.conftest import unavailable

PEER = Path(__file__).parents[2] / "interop" / "oidc"
CALLBACK = "https://app.example/callback"
SECRET = "of a throw-away provider"


@pytest.fixture(scope="session")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running provider. Node is not what this project is made of: without it these tests are skipped, in CI too."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed")
    directory = tmp_path_factory.mktemp("oidc") / "peer"
    shutil.copytree(PEER, directory)
    argv = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    installed = subprocess.run(
        argv, cwd=directory, capture_output=True, text=True, check=False, timeout=150, env={**os.environ, "CI": "true"}
    )
    if installed.returncode:
        unavailable(f"npm ci failed:\n{installed.stderr[-1000:]}")
    port = free_port()
    process = subprocess.Popen(
        [node, "provider.mjs", str(port)], cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while not _answers(url):
        assert process.poll() is None, "the provider ended"
        assert time.monotonic() < deadline, "the provider did not start"
        time.sleep(0.05)
    yield url
    process.terminate()
    process.wait(20)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/.well-known/openid-configuration", trust_env=False).is_success
    except httpx.TransportError:
        return False


Start = Callable[..., Any]


@pytest.fixture
def configured(tmp_path: Path, stores: Stores, issuer: str) -> Start:
    """The api with a provider: `configured()`, `configured(issuer=…)`."""

    @asynccontextmanager
    async def start(**changes: Any) -> AsyncIterator[Harness]:
        config = {"issuer": issuer, "client_id": "pabal", "client_secret": SECRET, "redirect_uris": [CALLBACK]}
        file = tmp_path / "oidc.json"
        file.write_text(json.dumps({"corp": {**config, **changes}}))
        async with running_api(tmp_path, stores, oidc_file=file) as api:
            yield api

    return start


async def begin(api: Harness) -> dict[str, str]:
    answer = await api.client.post("/v1/auth/oidc/corp/start", json={"redirect_uri": CALLBACK})
    assert answer.status_code == 200, answer.text
    found: dict[str, str] = answer.json()
    return found


async def at_the_provider(url: str, person: str) -> dict[str, str]:
    """What a browser does: type the name, agree, and be sent back; `code` and `state` of the redirect."""
    async with httpx.AsyncClient(trust_env=False) as browser:
        answer = await browser.get(url)
        for _ in range(12):
            if answer.is_redirect:
                where = str(answer.headers["location"])
                if where.startswith(CALLBACK):
                    return {name: values[0] for name, values in parse_qs(urlsplit(where).query).items()}
                answer = await browser.get(httpx.URL(url).join(where))
                continue
            assert answer.is_success, answer.text
            action = re.search(r'action="([^"]+)"', answer.text)
            prompt = re.search(r'name="prompt" value="([^"]+)"', answer.text)
            assert action is not None
            assert prompt is not None
            form = {"prompt": prompt[1], "login": person, "password": "any"}
            answer = await browser.post(httpx.URL(url).join(action[1]), data=form)
    raise AssertionError("the provider does not send the person back")


async def finish(api: Harness, login: str, redirect: dict[str, str], **more: str) -> httpx.Response:
    wish = {"login": login, "code": redirect["code"], "state": redirect["state"], **more}
    return await api.client.post("/v1/auth/oidc/corp/finish", json=wish)


async def login(api: Harness, person: str, **more: str) -> httpx.Response:
    begun = await begin(api)
    return await finish(api, begun["login"], await at_the_provider(begun["authorization_url"], person), **more)


async def who(api: Harness, answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    token = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    found: dict[str, Any] = (await api.client.get("/v1/me", headers=token)).raise_for_status().json()
    return found


async def test_somebody_new_becomes_a_user_and_is_the_same_one_ever_after(configured: Start) -> None:
    async with configured() as api:
        assert (await api.client.get("/v1/auth/oidc")).json() == {"items": ["corp"]}
        first, second = await login(api, "haneul"), await login(api, "haneul", handle="other")
        me = await who(api, first)
        assert (me["id"], me["display_name"]) == ("haneul", "김하늘")
        assert (await who(api, second))["id"] == me["id"]
        assert (await who(api, await login(api, "bada", handle="my-own")))["id"] == "my-own"
        form = {"grant_type": "refresh_token", "refresh_token": first.json()["refresh_token"]}
        assert (await api.client.post("/v1/auth/token", data=form)).status_code == 200
        (*_, grant) = await api.stores.grants.of_user("my-own", limit=9)
        assert grant.via == "oidc:corp"


async def test_nobody_gets_into_an_account_that_is_there_already(configured: Start) -> None:
    async with configured() as api:
        await api.user("haneul")
        assert (await login(api, "haneul", handle="haneul")).json()["code"] == "handle_taken"
        stranger = await who(api, await login(api, "haneul"))
        assert re.fullmatch(r"haneul-[0-9a-f]{6}", stranger["id"])
        for password in ("", "the password of nobody"):  # what is not there is no password
            form = {"grant_type": "password", "username": stranger["id"], "password": password}
            assert (await api.client.post("/v1/auth/token", data=form)).status_code in {401, 422}


async def test_a_login_is_finished_once_and_by_who_began_it(configured: Start) -> None:
    async with configured() as api:
        mine, other = await begin(api), await begin(api)
        redirect = await at_the_provider(mine["authorization_url"], "haneul")
        for sealed, changes in [
            (other["login"], {}),  # of another browser: its state is another
            (
                other["login"],
                {"state": parse_qs(urlsplit(other["authorization_url"]).query)["state"][0]},
            ),  # and verifier
            (mine["login"], {"state": "x"}),
            (mine["login"][:-8] + "AAAAAAAA", {}),
            ("x", {}),
        ]:
            refused = await finish(api, sealed, {**redirect, **changes})
            assert refused.status_code == 401, refused.text
            assert refused.json()["code"] in {"invalid_login", "oidc_refused"}
        begun = await begin(api)
        redirect = await at_the_provider(begun["authorization_url"], "haneul")
        assert (await finish(api, begun["login"], redirect)).status_code == 200
        again = await finish(api, begun["login"], redirect)
        assert (again.status_code, again.json()["code"]) == (401, "oidc_refused")


async def test_two_at_once_make_one_user(configured: Start) -> None:
    async with configured() as api:
        answers = await asyncio.gather(*(login(api, "haneul") for _ in range(3)))
        assert len({(await who(api, answer))["id"] for answer in answers}) == 1


async def test_what_can_not_be_begun(configured: Start) -> None:
    async with configured() as api:
        for name, wish, code in [
            ("none", {"redirect_uri": CALLBACK}, "unknown_provider"),
            ("corp", {"redirect_uri": "https://evil.example/"}, "unknown_redirect"),
            ("corp", {"redirect_uri": CALLBACK, "nonce": "x"}, "invalid_request"),
        ]:
            answer = await api.client.post(f"/v1/auth/oidc/{name}/start", json=wish)
            assert answer.json()["code"] == code


@pytest.mark.parametrize(
    "changes", [{"client_secret": "another"}, {"client_id": "nobody"}], ids=["wrong secret", "wrong client"]
)
async def test_a_provider_that_does_not_know_us(configured: Start, changes: dict[str, str]) -> None:
    async with configured() as api:
        begun = await begin(api)
        redirect = await at_the_provider(begun["authorization_url"], "haneul")
        provider = api.parts.providers["corp"]
        provider.config = provider.config.model_copy(update=changes)
        answer = await finish(api, begun["login"], redirect)
        assert (answer.status_code, answer.json()["code"]) == (401, "oidc_refused")


async def test_a_provider_that_is_another_or_away(configured: Start, issuer: str) -> None:
    for wrong in (f"{issuer}/", f"http://127.0.0.1:{free_port()}"):
        async with configured(issuer=wrong) as api:
            answer = await api.client.post("/v1/auth/oidc/corp/start", json={"redirect_uri": CALLBACK})
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
