"""How properties are searched: the same everywhere, and never failed for a slow machine."""

from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "here", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile(  # for mutmut: a mutant has to be found, not to be made small
    "mutants",
    settings.get_profile("here"),
    max_examples=25,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
)
settings.register_profile("many", settings.get_profile("here"), max_examples=2000)
settings.load_profile("here")
