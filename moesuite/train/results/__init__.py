"""What a run leaves behind: predictions of each test example, and the run itself, to go on with."""
