"""Where answers' code runs: `box` starts and ends it, `warden` watches it, `jail` walls it in, `runner` runs it."""
