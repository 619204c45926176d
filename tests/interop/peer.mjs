// MQTT.js subscribes, publishes to itself, and prints what came: node peer.mjs URL VERSION TOPIC QOS COUNT
import mqtt from "mqtt";

const [url, version, topic, qos, count] = process.argv.slice(2);
const five = version === "5";
const client = await mqtt.connectAsync(url, {
  protocolVersion: Number(version),
  clean: true,
  reconnectPeriod: 0,
  connectTimeout: 10_000,
});
const got = [];
const all = new Promise((resolve) => {
  client.on("message", (name, payload, packet) => {
    got.push({
      topic: name,
      payload: payload.toString(),
      qos: packet.qos,
      user: packet.properties?.userProperties?.who ?? null,
    });
    if (got.length === Number(count)) resolve();
  });
});
const granted = await client.subscribeAsync(`${topic}/+`, { qos: Number(qos) });
const sent = [];
for (let number = 0; number < Number(count); number += 1) {
  sent.push(
    client.publishAsync(`${topic}/안녕`, `안녕하세요 ${number}`, {
      qos: Number(qos),
      ...(five ? { properties: { userProperties: { who: "나" } } } : {}),
    }),
  );
}
await Promise.all(sent);
await all;
await client.unsubscribeAsync(`${topic}/+`);
await client.endAsync();
process.stdout.write(JSON.stringify({ granted: granted.map((each) => each.qos), got }));
