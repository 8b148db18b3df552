"""Who is told of failures, recoveries and points older than their rpo, once each. Apprise lives here, in a
process of its own."""
