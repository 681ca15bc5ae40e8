"""Streamlit's tutorial "Build a simple chatbot GUI with streaming", with a file beside it."""

import time

import streamlit as st

st.title("Streamlit")
if "messages" not in st.session_state:
    st.session_state.messages = []

if file := st.file_uploader("A file"):
    st.write(f"Received {file.name}: {len(file.getvalue())} bytes")

for message in st.session_state.messages:
    with st.chat_message(message["role"]):
        st.markdown(message["content"])


def pieces(said):
    step = max(4, len(said) // 25)
    for at in range(0, len(said), step):
        time.sleep(0.02)
        yield said[at : at + step]


if prompt := st.chat_input("Your message"):
    st.session_state.messages.append({"role": "user", "content": prompt})
    with st.chat_message("user"):
        st.markdown(prompt)
    with st.chat_message("assistant"):
        said = st.write_stream(pieces(f"You said: {prompt}"))
    st.session_state.messages.append({"role": "assistant", "content": said})
