"""What the task `lm_eval` is made of, and what lm-eval asks for a model: EleutherAI's evaluation harness and mechpaint.

    finding     which tasks a name stands for, and the folders that define them
    sources     local files instead of data sets on the hub
    loading     lm-eval's own task, ready to be asked
    requests    the token rows that lm-eval would send through a Hugging Face model
    document    what is asked: one document's requests
    generating  where the model writes: prompts, and what it writes along each route
    judging     from answers to lm-eval's metrics
    measures    from one of these metrics to a score
    guessing    what a task's score is where the model guesses
    aggregations  lm-eval's aggregations by name
    tables      all metrics of all routes with lm-eval's standard errors, for a report
    model       the other way round: a model along a route, as lm-eval asks it

lm-eval is imported where it is needed: it is an extra, `pip install 'mechpaint[eval]'`.
"""
