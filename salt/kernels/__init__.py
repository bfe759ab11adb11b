"""The few operations on packed tokens that need thought: each one function, fast on CPU, with a door to CUDA.

On CPU they loop over *runs*, neighbouring jets of equal length, whose rows are a view of shape (jets, length): at most
as many as there are different lengths, where the loader sorted the batch. No sum is ever scattered row by row:
`index_add` handles one row at a time there.
"""
