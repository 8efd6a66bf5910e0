"""The trained toys that come with mechpaint, and how they were made."""
