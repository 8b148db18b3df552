"""A run's summary as HTML, Markdown, JUnit and a picture of the graph, and the words that all of them
share."""
