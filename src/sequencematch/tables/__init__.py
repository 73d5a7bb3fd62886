"""Tables of scores and of texts, as CSV, Markdown, HTML and figures."""
