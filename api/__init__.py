"""The api: administration and everything that is not live, over HTTP. Meets the other processes on topics and documents."""
