"""Backups: everything of a database as it was at one moment, with the keys that belong to it.

A backup is a directory:

| path | what |
|---|---|
| `manifest.json` | what is in it: counts, indexes, sizes, SHA-256 of each file; written last, so a backup without one is none |
| `collections/NAME.bson.gz` | the documents of a collection, BSON behind BSON as the database gave them, gzip |
| `files/…` | keys, secrets and the first users of the state directory (not with `--no-keys`) |
| `sessions.db` | the broker's persistent sessions (with `--sessions`) |

**One moment.** All collections are read in one snapshot session: the server chooses the newest time that a majority has, and every read is as of
then, while writes go on. Whatever was acknowledged before the backup began is in it (P1), and no message is in it without what was written
before it. Locking the database against writes (`fsyncLock`) would give the same of one node, and stop every acknowledgement for as long.

A server keeps old versions for `minSnapshotHistoryWindowInSeconds`: by default for five minutes, in a stack for five seconds. So `create`
raises it for as long as it runs, and puts it back.
"""
