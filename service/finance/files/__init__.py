"""Files of others as tables: csv, workbooks, archives, and the layouts that platforms write.

The law of this room: every row that a file has is given out once, with its line as a person sees
it, and `Table.rows_said` says how many the file's own format has. What cannot be accounted for is
a BadFile, never silence.
"""
