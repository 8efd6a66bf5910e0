"""What the task `lm_eval` is made of: tasks of EleutherAI's evaluation harness, all routes in one sweep.

    finding     which tasks a name stands for, and the folders that define them
    sources     local files instead of data sets on the hub
    loading     lm-eval's own task, ready to be asked
    requests    the token rows that lm-eval would send through a Hugging Face model
    document    what is asked: one document's requests
    judging     from answers to lm-eval's metrics
    measures    from one of these metrics to a score, and what guessing gives
    tables      all metrics of all routes with lm-eval's standard errors, for a report

lm-eval is imported where it is needed: it is an extra, `pip install 'mechpaint[eval]'`.
"""
