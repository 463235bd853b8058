"""The pure core: events in, commands out, time passed in. Behaviour lives here."""
