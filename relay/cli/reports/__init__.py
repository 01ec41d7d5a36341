"""What the commands that describe something print: each as text for people, 80 columns wide, and as JSON."""
