"""What is booted: how it is made, and what hardware will say that it measured."""
