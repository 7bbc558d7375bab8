-- From 0.3.0 to 0.4.0: rows that break nothing, rights column by column, a repair that works within bounds.

-- Schedules, time zones.

-- Repair, and rows that make no sense.

-- Jobs and their triggers.

-- Limits.

-- Rights.

-- Readers.
