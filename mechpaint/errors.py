"""What can go wrong, and whose turn it is then.

    ValueError
      InputError          what was asked for cannot be; the command line exits with 2
        RouteError        malformed notation, a layer that does not exist, nothing left to run
        HookSetError      a name that does not exist, a read that the route never reaches, a hook that never fires
        CannotReroute     a model whose layers cannot run in another order, or that is attached already
        TextTooLong       more tokens than the model has positions for
        CannotExport      a route or model that no checkpoint can hold, or a folder that holds something already
        LoadError         no such model, device, dtype or tokenizer, or a model without the head that is needed
        FineTuningError   training that cannot be: settings, labelled texts, or a model that gets no such head
        TaskError         no such task, no items, a source that cannot be read
        HarnessError      what lm-eval hands its model does not fit: an argument, a route, a cache of answers
        ShardError        no share of a run: 0/8, 9/8
        EngineError       an engine that cannot be had, or whose workers see another run
        NoRuns            no folder that runs could be in, no such run in it, or several
        AccountError      a run of an earlier version, or of an analysis that is not there
        ComparisonError   runs that cannot be compared: of different analyses, or with nothing in common
        PlanError         no such accelerator or precision, a batch that does not fit, work that can only be measured
        PluginError       a plugin file that is not there, or in which something is wrong
        ParetoError       a search that cannot be: no budget, or no task that the model can do
        VariantError      an experiment that the paper does not define
        ViewError         an interactive view that would be drawn wrongly, or too slowly
        DiagramError      a picture that nobody could read
        HeadScoreError    sequences that a model cannot take
        ChainError        no Markov chain: probabilities that do not sum to 1, a token without a successor
        BigramTaskError   no in-context bigram task: more triggers than tokens, sequences of one token
        ToyModelError     no toy model: sizes that do not fit, a sequence or token that it does not have
        TrainingError     settings that cannot be trained with, a folder that holds another training
        FreezeError       a freezing schedule that names no parameter
        StoredModelError  a damaged checkpoint, or one of another shape
        InductionError    settings of an analysis with which nothing can be measured; likewise
        BirthError        and
        MemoriesError     of theirs
    OSError
      CannotWrite         a full disk, a folder that cannot be written; the command line exits with 1
    RuntimeError
      CellError           a cell of a run that is missing or damaged where it is needed; the command line exits with 1
        MissingCell       it is not there
        DamagedCell       other bytes than were written, other columns, another number of rows
      IncompleteRun       a run of which cells are missing or damaged; the command line exits with 1
      WorkersLost         workers of an engine that ended, one after the other; the command line exits with 1
      WeightsError        packaged weights that are missing or damaged; the command line exits with 1

Each message says what was given, what was expected, and what to do.
"""


class InputError(ValueError):
    """What was asked for cannot be."""
