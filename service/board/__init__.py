"""The budget page: what it says (`words`), how figures look (`form`), and the page itself."""
