"""The sender's journey: plan, build, write, ship; recall, retention and answers to repair requests."""
