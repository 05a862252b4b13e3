"""Functions with derivative rules of their own: custom rules, implicit functions, external code, hints."""

from symhess.rules.custom import CustomDerivative, custom_derivative
from symhess.rules.external import ExternalFunction, external
from symhess.rules.hints import checkpoint, stop_gradient
from symhess.rules.implicit import ImplicitFunction, implicit_function
from symhess.rules.operation import expanded, is_called, operation_of
