"""Who is champion, what was forecast, and what came true."""
