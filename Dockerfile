FROM python:3.13-slim
RUN useradd --create-home --uid 10001 triage && mkdir /data && chown triage /data
COPY . /src
RUN pip install --no-cache-dir "/src[server,postgres]" && rm -rf /src
USER triage
WORKDIR /data
ENV TRIAGE_DB=/data/triage.db
EXPOSE 8000
ENTRYPOINT ["triage"]
CMD ["serve", "--host", "0.0.0.0", "--behind-proxy"]
