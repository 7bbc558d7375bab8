-- From 0.4.0 to 0.5.0: what is left to a background worker.

-- No table can be altered while deferred triggers of the user's have rows of it to see to.
SET CONSTRAINTS ALL IMMEDIATE;
