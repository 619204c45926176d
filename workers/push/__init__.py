"""Pushes: who gets one (`decide`), what it says (`notification`), and getting it there (`deliver`, `sweep`)."""
