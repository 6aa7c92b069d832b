// Holds the folder open until its first source arrives.
