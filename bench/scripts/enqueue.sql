SELECT minion.enqueue('bench');
