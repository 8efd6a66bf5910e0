"""The task `lm_eval`, and models along routes as lm-eval (EleutherAI's evaluation harness) takes them.

    registry       the tasks that a name stands for, and the folders that define them
    local_files    local files instead of data sets on the hub
    loading        lm-eval's own task
    documents      the requests of each document, as the token rows of lm-eval's Hugging Face model
    generation     prompts, and the texts generated along each route
    results        from answers to lm-eval's metrics
    metrics        from one of these metrics to a score
    chance         the score of guessing
    tables         all metrics of all routes with lm-eval's standard errors, for a report
    harness_model  a model along a route, for lm-eval

lm-eval is imported where it is needed: it is an extra, `pip install 'mechpaint[eval]'`.
"""
