"""The whole path, from publish to stored and delivered, on a real stack; beside what a team would write otherwise."""
