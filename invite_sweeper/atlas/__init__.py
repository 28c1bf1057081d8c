"""Client of the MongoDB Atlas Administration API: endpoints, HTTP, authentication, answers."""
