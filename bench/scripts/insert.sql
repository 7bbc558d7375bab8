INSERT INTO plain (task) VALUES ('bench');
