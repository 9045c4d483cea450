"""The protocol of moving between two stores, in every order in which its steps can be taken."""
