"""What is true: one Markdown chapter per subject, its numbered clauses, and the operations' signatures."""
