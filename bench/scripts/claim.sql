\set worker :first + :client_id
SELECT id, retries FROM minion.dequeue(:worker) \gset
SELECT minion.finish_job(:id, :retries);
