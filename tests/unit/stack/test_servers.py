from __future__ import annotations

from pymongo import MongoClient
from redis import Redis


def test_mongod_takes_majority_writes(mongo_url: str, mongo_database: str) -> None:
    with MongoClient[dict[str, object]](mongo_url, w="majority", journal=True) as client:
        client[mongo_database].things.insert_one({"_id": "안녕"})
        assert client[mongo_database].things.count_documents({}) == 1


def test_valkey_answers(valkey_url: str) -> None:
    with Redis.from_url(valkey_url) as client:
        assert client.ping()
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "volatile-lru"}
        assert client.config_get("appendonly") == {"appendonly": "no"}
