"""Schema changes of the catalogue, run by alembic when a catalogue is opened."""
