"""The report: from tables to one page that answers the four research questions, with the numbers behind every
sentence.
"""
