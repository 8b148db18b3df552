"""A run's summary as HTML, Markdown, JUnit, pictures of its graph and of its throughput, and the
words that all of them share."""
