"""`triage review`: a full-screen application, and a plain one for terminals that cannot draw."""
