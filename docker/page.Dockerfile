# The page alone; it asks services over /v1 and holds neither torch nor onnxruntime.
#   docker build -f docker/page.Dockerfile -t auscult-page .
#   docker run -p 8501:8501 -e AUSCULT_SERVICES=lungs=http://service:8000 -e AUSCULT_TOKEN auscult-page
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1

WORKDIR /app
RUN pip install --no-cache-dir "streamlit>=1.67,<2" "httpx>=0.27,<1" "pydantic>=2.10,<3" "matplotlib>=3.8,<4" "jinja2>=3.1,<4" \
    "numpy>=1.26,<3" "soundfile>=0.12,<1"
COPY serve serve

RUN useradd --create-home auscult
USER auscult
EXPOSE 8501
CMD ["python", "-m", "serve.page", "--host", "0.0.0.0"]
