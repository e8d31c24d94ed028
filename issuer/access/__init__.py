"""Who may do what: clients, their roles, requests that a second person approves, the record of calls."""
