# What other folders import from this one.

from triage_cli.extensions.llm.anthropic import AnthropicProvider as AnthropicProvider
from triage_cli.extensions.llm.batch.anthropic import AnthropicBatchApi as AnthropicBatchApi
from triage_cli.extensions.llm.batch.api import BatchApi as BatchApi
from triage_cli.extensions.llm.batch.api import BatchLimits as BatchLimits
from triage_cli.extensions.llm.batch.client import BatchClient as BatchClient
from triage_cli.extensions.llm.batch.client import BatchedClassifier as BatchedClassifier
from triage_cli.extensions.llm.batch.openai import OpenAIBatchApi as OpenAIBatchApi
from triage_cli.extensions.llm.classifier import LLMClassifier as LLMClassifier
from triage_cli.extensions.llm.costs import VALID_SECONDS as VALID_SECONDS
from triage_cli.extensions.llm.costs import BudgetReserver as BudgetReserver
from triage_cli.extensions.llm.costs import Cost as Cost
from triage_cli.extensions.llm.costs import charged_usage as charged_usage
from triage_cli.extensions.llm.decisions_api import DecisionProvider as DecisionProvider
from triage_cli.extensions.llm.interpretation import clean_reason as clean_reason
from triage_cli.extensions.llm.interpretation import interpretation_of as interpretation_of
from triage_cli.extensions.llm.interpretation import parse_answer as parse_answer
from triage_cli.extensions.llm.model import batch_api_of as batch_api_of
from triage_cli.extensions.llm.model import build as build
from triage_cli.extensions.llm.openai import AnswerToken as AnswerToken
from triage_cli.extensions.llm.openai import OpenAIProvider as OpenAIProvider
from triage_cli.extensions.llm.openai import likelihoods as likelihoods
from triage_cli.extensions.llm.prompt import CUT_MARK as CUT_MARK
from triage_cli.extensions.llm.prompt import PROMPT_VERSION as PROMPT_VERSION
from triage_cli.extensions.llm.prompt import TICKET_LIMIT as TICKET_LIMIT
from triage_cli.extensions.llm.prompt import TICKET_LIMITS as TICKET_LIMITS
from triage_cli.extensions.llm.prompt import Question as Question
from triage_cli.extensions.llm.prompt import answer_schema as answer_schema
from triage_cli.extensions.llm.prompt import labels_of as labels_of
from triage_cli.extensions.llm.prompt import question as question
from triage_cli.extensions.llm.provider import ANSWER_TOKENS as ANSWER_TOKENS
from triage_cli.extensions.llm.provider import Reply as Reply

from . import costs as costs
from . import interpretation as interpretation
from . import prompt as prompt
from . import provider as provider
