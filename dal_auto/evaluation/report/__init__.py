"""The report: a folder of HTML pages that opens without a network."""
