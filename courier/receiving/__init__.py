"""The receiver's journey: read volumes, mend what is damaged, import, report."""
