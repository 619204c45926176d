"""What I want of pushes."""
