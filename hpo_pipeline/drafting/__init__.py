"""From data to an experiment file: `hpo init` looks at the data, and writes what fits them.

`sample` reads the first rows, `profiles` describes columns, `guess` finds the kind of task and its
columns, `facts` reads all rows as the prepare stage will, `plan` chooses model, space and budget,
and `writing` writes the file. What a column means is guessed here and nowhere else.
"""
