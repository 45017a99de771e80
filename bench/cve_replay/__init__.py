"""Replays the security fixes of a Debian source package as live patches; see bench/cve-replay."""
