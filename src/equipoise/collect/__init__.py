"""From prompts to an outcome table: ask models, grade answers, keep a journal."""
