"""State that outlives a policy: windows, bans, sessions; in memory or shared."""
