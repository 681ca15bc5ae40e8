"""LangGraph's first graph: one node that answers with the model stand-in, token by token."""

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph


def answer(state: MessagesState):
    said = state["messages"][-1].text
    model = GenericFakeChatModel(messages=iter([AIMessage(content=f"You said: {said}")]))
    return {"messages": [model.invoke(state["messages"])]}


graph = StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer").compile()
